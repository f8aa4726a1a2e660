module microsandbox/net-load

go 1.23
