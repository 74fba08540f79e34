import { make } from "./base.js";

export function showLesson(root) {
  root.append(make("h1", {}, "Lesson"));
}
