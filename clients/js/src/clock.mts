export interface Clock {
  /** Milliseconds since 1970. May jump. */
  wall(): number;
  /** Milliseconds since whenever. Never goes back. */
  now(): number;
  set(run: () => void, ms: number): unknown;
  clear(timer: any): void;
}

export const systemClock: Clock = {
  wall: () => Date.now(),
  now: () => performance.now(),
  set: (run, ms) => setTimeout(run, ms),
  clear: (timer) => clearTimeout(timer),
};

const LONGEST = 2 ** 31 - 1; // setTimeout fires at once beyond it

/** One timer that is set anew after every decision. It may ring early: whoever is asked looks at the time again. */
export class Alarm {
  readonly #clock: Clock;
  readonly #ring: () => void;
  #timer: unknown;

  constructor(clock: Clock, ring: () => void) {
    this.#clock = clock;
    this.#ring = ring;
  }

  at(due: number): void {
    this.#clock.clear(this.#timer);
    if (due === Infinity) return;
    const wait = Math.ceil(Math.max(0, due - this.#clock.now()));
    this.#timer = this.#clock.set(this.#ring, Math.min(wait, LONGEST));
  }
}
