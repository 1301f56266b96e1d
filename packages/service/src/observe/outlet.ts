import { fstatSync, write } from "node:fs";
import { Socket } from "node:net";

/** Where bytes of the log leave the process. */
export interface Outlet {
  /** Calls back when the bytes are out, or with the reason why they are not. One write at a time. */
  write(bytes: Buffer, done: (error: Error | null) => void): void;
  /** Drops what is not out. */
  close(): void;
}

/**
 * The outlet of an open file descriptor. A pipe or a socket becomes non-blocking, since a write that a reader holds up
 * would hold up the exit of the process as well; everything else is written beside the thread that runs the process.
 */
export function openOutlet(fd: number): Outlet {
  const stat = fstatSync(fd);
  return stat.isFIFO() || stat.isSocket() ? openStreamOutlet(fd) : openFileOutlet(fd);
}

function openStreamOutlet(fd: number): Outlet {
  const socket = new Socket({ fd, readable: false, writable: true });
  socket.on("error", () => {}); // each write is told by its own callback
  return {
    write: (bytes, done) => void socket.write(bytes, (error) => done(error ?? null)),
    close: () => void socket.destroy(),
  };
}

function openFileOutlet(fd: number): Outlet {
  function writeFrom(bytes: Buffer, offset: number, done: (error: Error | null) => void): void {
    write(fd, bytes, offset, bytes.length - offset, null, (error, written) => {
      if (error !== null || offset + written === bytes.length) done(error);
      else writeFrom(bytes, offset + written, done);
    });
  }
  return { write: (bytes, done) => writeFrom(bytes, 0, done), close: () => {} };
}
