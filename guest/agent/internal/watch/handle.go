package watch

import "syscall"

// handle tells of one event and has the tree follow; later are those behind it, in which the other end of a move is looked for.
func (w *watcher) handle(e *event, later []event) error {
	if e.mask&syscall.IN_Q_OVERFLOW != 0 {
		return w.lost()
	}
	n := w.byWd[e.wd]
	if n == nil {
		return nil // of a folder that was dropped
	}
	if e.name == "" {
		w.ofItself(n, e)
		return nil
	}
	switch {
	case e.mask&syscall.IN_CREATE != 0:
		return w.appeared(n, e, created)
	case e.mask&syscall.IN_MOVED_TO != 0:
		return w.appeared(n, e, moved)
	case e.mask&syscall.IN_MOVED_FROM != 0:
		if to := other(e, later); to != nil {
			if parent := w.byWd[to.wd]; parent != nil {
				to.mask = 0 // told with this end
				return w.movedWithin(n, e, parent, to)
			}
		}
		w.vanished(n, e)
	case e.mask&syscall.IN_DELETE != 0:
		w.vanished(n, e)
	case e.mask&syscall.IN_MODIFY != 0:
		w.about(n, e, modified)
	case e.mask&syscall.IN_ATTRIB != 0:
		w.about(n, e, attributes)
	}
	return nil
}

// ofItself is about a watched folder: that of another is told by the folder it lies in.
func (w *watcher) ofItself(n *node, e *event) {
	switch {
	case n == w.root && e.mask&(syscall.IN_IGNORED|syscall.IN_DELETE_SELF|syscall.IN_MOVE_SELF|syscall.IN_UNMOUNT) != 0:
		w.end()
	case n == w.root && e.mask&syscall.IN_ATTRIB != 0 && w.only == "":
		w.tell(change{kind: attributes, folder: true})
	case e.mask&syscall.IN_IGNORED != 0:
		delete(w.byWd, n.wd)
	}
}

// named gives the path that is told of a name, or false if it does not count.
func (w *watcher) named(n *node, name string) (string, bool) {
	if w.only != "" {
		return "", name == w.only
	}
	path := n.path(name)
	return path, !w.excluded(path)
}

func (w *watcher) about(n *node, e *event, kind string) {
	if path, counts := w.named(n, e.name); counts {
		w.tell(change{kind: kind, path: path, folder: e.folder()})
	}
}

func (w *watcher) appeared(n *node, e *event, kind string) error {
	if !n.wasTold(e.name) {
		w.about(n, e, kind)
	}
	if e.folder() {
		return w.visit(n, e.name, true)
	}
	w.drop(n.children[e.name])
	return nil
}

func (w *watcher) vanished(n *node, e *event) {
	w.about(n, e, removed)
	delete(n.told, e.name)
	if e.folder() {
		w.drop(n.children[e.name])
	}
}

// movedWithin is a move of which both ends are seen.
func (w *watcher) movedWithin(n *node, e *event, parent *node, to *event) error {
	from, fromCounts := w.named(n, e.name)
	path, counts := w.named(parent, to.name)
	parent.wasTold(to.name)
	delete(n.told, e.name)
	switch {
	case fromCounts && counts:
		w.tell(change{kind: moved, path: path, from: from, folder: e.folder()})
	case fromCounts:
		w.tell(change{kind: removed, path: from, folder: e.folder()})
	case counts:
		w.tell(change{kind: moved, path: path, folder: e.folder()})
	}
	if !e.folder() {
		w.drop(parent.children[to.name])
		return nil
	}
	if child := n.children[e.name]; child != nil {
		if !counts {
			w.drop(child)
		} else if child != parent.children[to.name] {
			w.drop(parent.children[to.name])
			// The tree may be ahead of what is told, as it looks at what is there now.
			if w.byWd[n.wd] != n || w.byWd[child.wd] != child || child.holds(parent) {
				return w.lost()
			}
			w.move(child, parent, to.name)
		}
	}
	// Either name may have come to stand for another folder since.
	if err := w.visit(parent, to.name, true); err != nil {
		return err
	}
	return w.visit(n, e.name, true)
}
