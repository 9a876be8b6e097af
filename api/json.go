package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// jsonFormat is huma's for JSON, but that 1.0 is an integer, as in JSON Schema.
func jsonFormat() huma.Format {
	return huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshal}
}

func unmarshal(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) || !strings.HasPrefix(wrong.Value, "number") {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var whole any
	if dec.Decode(&whole) != nil {
		return err
	}
	again, merr := json.Marshal(integers(whole))
	if merr != nil || json.Unmarshal(again, v) != nil {
		return errors.New("a number is too large for its field, or has a fraction that the field cannot have")
	}
	return nil
}

// integers writes the numbers of a value that are whole without a fraction.
func integers(v any) any {
	switch v := v.(type) {
	case json.Number:
		whole, fraction, ok := strings.Cut(string(v), ".")
		if ok && strings.Trim(fraction, "0") == "" {
			return json.Number(whole)
		}
	case []any:
		for i := range v {
			v[i] = integers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = integers(v[k])
		}
	}
	return v
}
