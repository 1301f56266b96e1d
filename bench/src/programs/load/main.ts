/** Bulk beside something that is measured: streams that carry as much as they can until the process is ended. */
import { connect } from "node:net";
import { readSettings } from "../settings.ts";
import { encodeOrder } from "../upstream/order.ts";
import type { LoadSettings } from "./settings.ts";

const BLOCK: Buffer = Buffer.alloc(262_144, 0x5a);
/** A stream counts as running from here on. */
const RUNNING_BYTES = 4_194_304;

const { port, up, down } = readSettings<LoadSettings>(process.argv);
let movedBytes = 0;
let starting = up + down;

function count(stream: { bytes: number }, bytes: number): void {
  movedBytes += bytes;
  if (stream.bytes < RUNNING_BYTES && stream.bytes + bytes >= RUNNING_BYTES) {
    starting -= 1;
    if (starting === 0) process.send?.("running");
  }
  stream.bytes += bytes;
}

function upload(): void {
  const stream = { bytes: 0 };
  const socket = connect({ host: "127.0.0.1", port, noDelay: true });
  socket.write(encodeOrder({ kind: "take", bytes: Number.MAX_SAFE_INTEGER }));
  const more = (): void => {
    do count(stream, BLOCK.length);
    while (socket.write(BLOCK) || socket.writableLength === 0);
  };
  socket.on("drain", more);
  more();
}

function download(): void {
  const stream = { bytes: 0 };
  const onread = {
    buffer: Buffer.alloc(BLOCK.length),
    callback(bytes: number): boolean {
      count(stream, bytes);
      return true;
    },
  };
  const socket = connect({ host: "127.0.0.1", port, noDelay: true, onread });
  socket.write(encodeOrder({ kind: "give", bytes: Number.MAX_SAFE_INTEGER }));
}

for (let index = 0; index < up; index += 1) upload();
for (let index = 0; index < down; index += 1) download();
process.on("message", (message) => {
  if (message === "moved") process.send?.(movedBytes);
});
