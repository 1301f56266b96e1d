/** What moves a terminal's cursor, colours it, begins a line or turns the direction of text round. */
const CONTROLS = /[\p{Cc}\p{Bidi_Control}\u2028\u2029]+/gu;

/** A text that may be somebody else's, such as a relay's or an agent's, as one line that shows what it says and does no more. */
export function printable(text: string): string {
  return text.replaceAll(CONTROLS, " ");
}
