package agent

import (
	"time"

	"microsandbox/agent/internal/failure"
	"microsandbox/agent/internal/owner"
	"microsandbox/agent/internal/wire"
)

// ownersPatience is how long the agent may be kept from everything else.
const ownersPatience = 50 * time.Millisecond

// owners answers which processes connections belong to.
func (a *Agent) owners(id uint64, m wire.Item) {
	list := m.Get("flows")
	n := list.Len()
	if list.Kind() != wire.Array || n > owner.MaxFlows {
		a.replyError(id, failure.New(failure.InvalidArgument, "owners: flows is no list of at most 64"))
		return
	}
	flows := make([]owner.Flow, 0, n)
	for i, item := 0, list.First(); i < n; i, item = i+1, item.Next() {
		local, ok := item.Get("local").Uint()
		port, fine := item.Get("port").Uint()
		address, given := item.Get("address").Bytes()
		if !ok || !fine || !given || local > 0xFFFF || port > 0xFFFF || (len(address) != 4 && len(address) != 16) {
			a.replyError(id, failure.New(failure.InvalidArgument, "owners: not a flow"))
			return
		}
		flows = append(flows, owner.Flow{
			UDP: item.Get("udp").True(), Local: uint16(local), Address: address, Port: uint16(port),
		})
	}
	found := owner.Find(flows, ownersPatience)
	b := wire.AppendArray(wire.AppendText(a.reply(id, 1), "owners"), n)
	for _, o := range found {
		if o.PID == 0 {
			b = wire.AppendMap(b, 0)
			continue
		}
		b = wire.AppendUint(wire.AppendText(wire.AppendMap(b, 2), "pid"), uint64(o.PID))
		b = wire.AppendText(wire.AppendText(b, "command"), valid(o.Command))
	}
	a.link.End(b)
}
