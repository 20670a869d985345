// What went wrong with a call, in words for a person, and what to do about it.

const REMEDIES = {
  0: "The server cannot be reached. Is it running? The page tries again by itself.",
  400: "Correct what was asked for and try again.",
  401: "Sign in with a token of this server.",
  403: "The token lacks the role or the namespace for this. Sign in with another one, or ask whoever gives them out.",
  404: "It may have been purged, or it lives in another namespace.",
  429: "A bound of the server was hit. Wait a little and try again.",
  503: "The server is starting, stopping, or cannot write. The page tries again by itself.",
};

/** A refused or failed call. `code` is the HTTP code, 0 when nothing was answered. */
export class Failure extends Error {
  /**
   * @param {number} code
   * @param {string} name the gRPC name, such as NOT_FOUND
   * @param {string} message
   * @param {object[]} details
   */
  constructor(code, name, message, details = []) {
    super(message);
    this.code = code;
    this.name = name;
    this.details = details;
  }

  /** From the error object of an answer or of a stream. */
  static from(error, code = 500) {
    return new Failure(
      Number(error?.code ?? code),
      error?.status ?? "",
      error?.message ?? "",
      error?.details ?? [],
    );
  }

  /** The fields at fault, each with what is wrong. */
  get violations() {
    return this.details.flatMap((detail) => detail.fieldViolations ?? []);
  }

  /** The machine-readable reason, such as TASK_FINISHED. */
  get reason() {
    return this.details.find((detail) => detail.reason)?.reason ?? "";
  }

  /** What the reader can do. */
  get remedy() {
    return REMEDIES[this.code] ?? "Try again; if it stays, the log of the server has more.";
  }

  /** Whether the same call may succeed later without anybody doing anything. */
  get isPassing() {
    return this.code === 0 || this.code === 409 || this.code === 429 || this.code >= 500;
  }
}
