package main

import (
	"bytes"
	"strings"

	"golang.org/x/net/html/charset"
)

// decoded is the body of an answer as UTF-8, without the mark at its beginning.
// Else nothing that is looked for would be found in UTF-16, nor the beginning of a
// file that an editor wrote with a mark. What says nothing of its encoding stays as
// it is: all others have the letters of ASCII where ASCII has them.
func decoded(ex *exchange) []byte {
	given := ex.header.Get("Content-Type")
	marked := bytes.HasPrefix(ex.body, []byte("\xef\xbb\xbf")) || bytes.HasPrefix(ex.body, []byte("\xff\xfe")) || bytes.HasPrefix(ex.body, []byte("\xfe\xff"))
	if !marked && (!isText(ex.header) || !strings.Contains(strings.ToLower(given), "charset")) {
		return ex.body
	}
	encoding, name, certain := charset.DetermineEncoding(ex.body, given)
	if !certain || name == "utf-8" && !marked {
		return ex.body
	}
	out, err := encoding.NewDecoder().Bytes(ex.body)
	if err != nil {
		return ex.body
	}
	return bytes.TrimPrefix(out, []byte("\xef\xbb\xbf"))
}
