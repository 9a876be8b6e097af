export function run(text) {
  eval(text);
  return JSON.parse(text);
}
