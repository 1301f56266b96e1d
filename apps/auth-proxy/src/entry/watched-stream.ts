import { Duplex } from "node:stream";

/** A connection whose client's bytes pass a reader before its parser gets them. */
export class WatchedStream extends Duplex {
  readonly #stream: Duplex;

  /** @param watch gets each chunk before it is read. */
  constructor(stream: Duplex, watch: (chunk: Buffer) => void) {
    super({ allowHalfOpen: true });
    this.#stream = stream;
    stream.on("data", (chunk: Buffer) => {
      watch(chunk);
      if (!this.push(chunk)) stream.pause();
    });
    stream.once("end", () => this.push(null));
    stream.on("error", (error) => this.destroy(error));
    stream.once("close", () => this.destroy());
  }

  override _read(): void {
    this.#stream.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#stream.write(chunk, done);
  }

  override _writev(chunks: { readonly chunk: Buffer }[], done: (error?: Error | null) => void): void {
    const last = chunks.length - 1;
    this.#stream.cork();
    for (const [at, { chunk }] of chunks.entries()) {
      if (at === last) this.#stream.write(chunk, done);
      else this.#stream.write(chunk);
    }
    this.#stream.uncork();
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#stream.end(() => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#stream.destroy();
    done(error);
  }
}
