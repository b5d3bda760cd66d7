/** Small decisions without state. */

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** RFC 9562: ordered by time, so that a sorted list of ids reads like the conversation. */
export function uuidv7(wall: number, random: () => number): string {
  const bytes = Array.from({ length: 16 }, () => Math.floor(random() * 256));
  for (let at = 5, left = wall; at >= 0; at--, left = Math.floor(left / 256)) bytes[at] = left % 256;
  bytes[6] = 0x70 | (bytes[6]! & 15);
  bytes[8] = 0x80 | (bytes[8]! & 63);
  const hex = bytes.map((byte) => HEX[byte]).join("");
  return hex.replace(/(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** Cryptographic where the platform has it; two devices must not mint one id. */
export function platformRandom(): number {
  const { crypto } = globalThis;
  return crypto ? crypto.getRandomValues(new Uint32Array(1))[0]! / 2 ** 32 : Math.random();
}

/** Full jitter: random(0 … min(most, first · 2^n)). `n` counts from 0. */
export function backoff(n: number, first: number, most: number, random: () => number): number {
  return random() * Math.min(most, first * 2 ** Math.min(n, 60));
}

/** What makes an entry the same one when it comes again; a gap has none. */
export function identityOf(entry: { type: string; id?: unknown; from?: unknown; by?: unknown }): string | undefined {
  if (entry.type === "gap" || typeof entry.id !== "string") return undefined;
  return `${entry.type}/${entry.from ?? entry.by ?? ""}/${entry.id}`;
}

/** The claims of a JWT, unverified: only to know when to ask for another. `exp` in seconds. */
export function claimsOf(token: string): { exp?: number; sub?: string } {
  try {
    const text = atob(token.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/"));
    const claims = JSON.parse(decodeURIComponent(text.replace(/[^]/g, (c) => "%" + HEX[c.charCodeAt(0)])));
    return typeof claims === "object" && claims ? claims : {};
  } catch {
    return {};
  }
}

/** Equal as JSON values: the order of keys does not count. */
export function same(a: any, b: any): boolean {
  if (a === b) return true;
  if (!a || !b || typeof a !== "object" || typeof b !== "object" || Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]));
}

export const bytesOf = (text: string): number => new TextEncoder().encode(text).length;

export const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
