const loud = process.argv.includes("--loud");
process.stdout.write(loud ? "HELLO" : "hello");
