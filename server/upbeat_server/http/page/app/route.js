// Where the reader is: the hash of the address, such as `#/tasks?filter=state+%3D+QUEUED&ns=team-a`.

/** A place in the dashboard. The namespace is part of it, so that links lead to the same thing everywhere. */
export class Route {
  /** @param {string[]} parts @param {Record<string, string>} query */
  constructor(parts, query) {
    this.parts = parts;
    this.query = query;
  }

  /** From a hash; an empty one is the overview. */
  static read(hash) {
    const [path, search = ""] = hash.replace(/^#\/?/, "").split("?", 2);
    const parts = path.split("/").filter(Boolean).map(decode);
    return new Route(parts.length ? parts : ["overview"], Object.fromEntries(new URLSearchParams(search)));
  }

  get page() {
    return this.parts[0];
  }

  get namespace() {
    return this.query.ns ?? "";
  }

  /** The address of another place in the same namespace; empty values are left out. */
  href(parts, query = {}) {
    const search = new URLSearchParams();
    const ns = "ns" in query ? query.ns : this.namespace;
    for (const [name, value] of Object.entries({ ...query, ns })) {
      if (value) search.set(name, value);
    }
    const text = search.toString();
    return `#/${parts.map(encodeURIComponent).join("/")}${text && `?${text}`}`;
  }

  /** The address of this place with some of the query changed. */
  with(changes) {
    return this.href(this.parts, { ...this.query, ...changes });
  }
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
