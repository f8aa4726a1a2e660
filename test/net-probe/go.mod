module microsandbox/net-probe

go 1.23
