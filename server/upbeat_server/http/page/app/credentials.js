// The bearer token: kept in sessionStorage, so that it ends with the tab and is never in an address.

const KEY = "upbeat.token";

export class Credentials {
  get token() {
    return sessionStorage.getItem(KEY) ?? "";
  }

  keep(token) {
    sessionStorage.setItem(KEY, token);
  }

  forget() {
    sessionStorage.removeItem(KEY);
  }
}
