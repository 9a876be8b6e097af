package api

import (
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

// linkNext says where the page behind a list is (RFC 8288), whatever its items
// are. It is relative, so that it is right behind a proxy that serves this host
// below a path of its own.
func linkNext(ctx huma.Context, v any) {
	list := reflect.Indirect(reflect.ValueOf(v))
	if list.Kind() != reflect.Struct {
		return
	}
	token := list.FieldByName("NextPageToken")
	if !token.IsValid() || token.Kind() != reflect.String || token.String() == "" || ctx.Method() != "GET" {
		return
	}
	at := ctx.URL()
	query := at.Query()
	query.Set("page_token", token.String())
	ctx.SetHeader("Link", "<?"+query.Encode()+`>; rel="next"`)
}
