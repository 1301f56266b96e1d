export const add = (a: number, b?: number): number => (b === undefined ? alone(a) : a + b);

function alone(a: number): number {
  return a + 0;
}
