import type { Link } from "./link.ts";

/** Something that is wrong with a network. */
export interface Fault {
  /** Takes hold of a link: of each that is open, and of each that opens meanwhile. @returns how it lets go. */
  begin(link: Link): () => void;
}
