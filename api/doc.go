// Package api is the HTTP interface: routes, authentication, the streamed
// upload, pages, and one problem document (RFC 9457) for everything that goes
// wrong. gorilla/mux routes, huma checks parameters and JSON bodies and keeps
// the OpenAPI 3.1 document, which is served at /openapi.json.
//
// A request passes, from the outside in:
//
//	ServeHTTP   request id, security headers, panics, the access log
//	response    ETags, compression, the whole of an answer or none (represent.go)
//	body        the pace and the end of the request body, and its digest (body.go)
//	cors        what pages of other origins may do, where an operator named some
//	mux         the route; 404 and 405 are problems too
//	protect     the API key, before anything of the body is read
//	huma        parameters and JSON bodies against their schema
//	handler     talks to intake and to the store's ports
//
// What a route need not know is done outside of it, for those that come later as
// well: the statuses in the document (document.go), the link to the next page, the
// pages for people (pages.go).
//
// A tenant comes from the key and from nowhere else. What is below /admin takes
// an operator's key instead, which names no tenant (admin.go). Errors of the layers
// below become problems in one table (problem.go); what is not in it is a 500
// that shows a request id, with the error itself in the log.
package api
