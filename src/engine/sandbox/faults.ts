/**
 * Steps that tests break off: called where one has been reached. It may throw, never return, or end the program. Does nothing otherwise.
 */
export type Reached = (step: string) => void | Promise<void>;
