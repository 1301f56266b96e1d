/** Characters that move a terminal's cursor, colour it, begin a line or turn the direction of text round. */
const CONTROLS = /[\p{Cc}\p{Bidi_Control}\u2028\u2029]+/gu;

/** Most characters that a person reads of one text; a sender of more wants to hide something. */
const MAX_CHARACTERS = 4_096;

/** A text of another sender, such as a relay or an agent, as one line that shows its characters and does no more. */
export function printable(text: string): string {
  const line = text.slice(0, MAX_CHARACTERS).replaceAll(CONTROLS, " ");
  return text.length > MAX_CHARACTERS ? `${line}…` : line;
}
