module microsandbox/jail-probe

go 1.23
