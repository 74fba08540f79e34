import { make } from "./base.js";

export function showRuns(root) {
  root.append(make("h1", {}, "Runs"));
}
