// Command flawfinder makes a plugin of a tool that prints SARIF: flawfinder,
// which looks for dangerous calls in C and C++. The operator installs the tool
// and gives the plugin a PATH.
package main

import "github.com/securetaghq/securetag/sdk"

func main() {
	sdk.Main(sdk.ExecSARIF(sdk.Scanner[struct{}]{
		Name: "flawfinder", Version: "0.1.0",
		Description: "Finds dangerous calls in C and C++ with flawfinder.",
	}, sdk.SARIFTool{
		Command: []string{"flawfinder", "--sarif", "{target}"},
	}))
}
