/** A piece of the text and what stands there instead. */
export interface Change {
  readonly start: number;
  readonly end: number;
  readonly text: string;
  readonly within?: number;
}
