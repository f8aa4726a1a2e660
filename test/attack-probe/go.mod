module microsandbox/attack-probe

go 1.23
