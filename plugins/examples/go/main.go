// The plugin is in hooks and rule; its exports are generated.
package main

import _ "flowgate.local/plugin/gen/wit_exports"

func main() {}
