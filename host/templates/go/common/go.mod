module flowgate.local/plugin

go 1.27
