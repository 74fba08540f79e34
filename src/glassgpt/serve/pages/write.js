import { make } from "./base.js";

export function showWrite(root) {
  root.append(make("h1", {}, "Write"));
}
