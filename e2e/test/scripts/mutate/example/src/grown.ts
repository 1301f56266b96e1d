export const isGrown = (age: number): boolean => age >= 18;
