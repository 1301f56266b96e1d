/** Loaded before a program: tells the memory when asked, and ends with the process that started it. */
import type { MemoryReport } from "./memory-report.ts";

process.on("disconnect", () => process.exit(0));
process.on("message", (message) => {
  if (message !== "memory") return;
  // Twice: what a finalizer lets go of is collected by the second.
  collect();
  setImmediate(() => {
    collect();
    const { rss, heapUsed, external } = process.memoryUsage();
    const report: MemoryReport = { residentBytes: rss, heldBytes: heapUsed + external };
    process.send?.(report);
  });
});

/** Also gives back what the heap keeps after a busy time: how much that is says nothing about what is held now. */
function collect(): void {
  void globalThis.gc?.({ type: "major", flavor: "last-resort" });
}

// Listening alone must not keep the program alive.
process.channel?.unref();
