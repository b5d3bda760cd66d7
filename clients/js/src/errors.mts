import type { Failure } from "./types.mjs";

/** `code` is for programs: of docs/protocol.md section 9, or one of this client (README, "Errors"). */
export class InboxError extends Error {
  readonly code: string;
  readonly failure?: Failure;

  constructor(code: string, message = code, more: { cause?: unknown; failure?: Failure } = {}) {
    super(message, more);
    this.name = "InboxError";
    this.code = code;
    this.failure = more.failure;
  }
}

/** A send that will not be accepted; `id` is the message's. */
export class SendError extends InboxError {
  readonly id: string;

  constructor(code: string, message: string, id: string, cause?: unknown) {
    super(code, message, { cause });
    this.name = "SendError";
    this.id = id;
  }
}
