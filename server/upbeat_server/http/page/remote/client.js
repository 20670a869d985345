// The REST API: one method for each verb, the namespace and the token added, errors as Failures.

import { readEvents } from "./event_stream.js";
import { Failure } from "./failure.js";

const ROOT = "api/v1/orchestration/";

export class Client {
  /**
   * @param {() => string} namespace the namespace of now; "" is the default one
   * @param {() => string} token the bearer token of now; "" for none
   */
  constructor(namespace, token) {
    this.namespace = namespace;
    this.token = token;
  }

  /** @param {string} path @param {object} [query] @param {AbortSignal} [signal] */
  async get(path, query = {}, signal = undefined) {
    return (await this.#call("GET", this.#url(path, query), undefined, signal)).json();
  }

  async post(path, body = {}) {
    const namespace = this.namespace();
    return (await this.#call("POST", this.#url(path), { ...body, ...(namespace && { namespace }) })).json();
  }

  async delete(path, query = {}) {
    return (await this.#call("DELETE", this.#url(path, query))).json();
  }

  /** The messages of a server stream, until it ends or is aborted. */
  async *watch(path, query, signal) {
    const answer = await this.#call("GET", this.#url(path, query), undefined, signal, "text/event-stream");
    yield* readEvents(answer.body);
  }

  #url(path, query = undefined) {
    const url = new URL(ROOT + path, document.baseURI);
    const namespace = this.namespace();
    if (namespace && query) url.searchParams.set("namespace", namespace);
    for (const [name, value] of Object.entries(query ?? {})) {
      if (value !== "" && value !== undefined) url.searchParams.set(name, value);
    }
    return url;
  }

  async #call(method, url, body, signal, accept = "application/json") {
    const token = this.token();
    const headers = { accept, ...(token && { authorization: `Bearer ${token}` }) };
    if (body !== undefined) headers["content-type"] = "application/json";
    let answer;
    try {
      answer = await fetch(url, {
        method,
        headers,
        signal,
        cache: "no-store",
        body: body && JSON.stringify(body),
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Failure(0, "UNREACHABLE", "The server does not answer.");
    }
    if (answer.ok) return answer;
    throw Failure.from((await answer.json().catch(() => ({}))).error, answer.status);
  }
}
