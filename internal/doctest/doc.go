// Package doctest keeps the documentation true: it does what the README and the
// pages in docs tell their readers to do, on the real binaries, and compares
// what they show with what comes out.
//
// The words after the language of a fenced block say what it is to the test.
// They do not show on the page:
//
//	```sh run            run by one shell for each page, in the order of the page
//	```sh run exit=1     the same, and its last command must end with this code
//	```text output       what the run block before it prints
//	```json output       the same, compared as JSON
//	```hcl file=NAME     written to NAME, in the directory where the shell is
//	```go include=PATH   the same as the file PATH of this repository
//	```text demo         what `make demo` prints once it has built everything
//
// The shell starts in a copy of the repository with bin as `make build` leaves
// it. 127.0.0.1:8080 to 8089 stand for free ports, DATABASE_URL and REDIS_URL
// name real servers. Ids, keys, times and durations may differ from what a page
// shows, and a line "..." in an output stands for any lines.
//
// The tables of codes and states on the pages are compared with the code.
//
// It runs what the recipes of docs/ci run, and the TypeScript client of the API,
// against real hosts as well.
package doctest
