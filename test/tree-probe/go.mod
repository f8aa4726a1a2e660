module microsandbox/tree-probe

go 1.23
