// SPDX-License-Identifier: GPL-2.0-or-later
/* Kind kv: what each command costs an SSD that holds values by keys, and does to it. */
#include "kv.h"
#include "snapshot.h"

static struct kv *behind_ssd(struct nvc *c)
{
	return (struct kv *)((u8 *)c->state + nvc_ssd.size(&c->config));
}

static size_t whole_words(size_t bytes)
{
	return (bytes + 7) & ~(size_t)7;
}

/* The log, the chains and the index, one behind the other. */
static size_t layout(const struct kv_shape *g, u8 *memory, struct kv *kv)
{
	size_t log = (size_t)g->log * sizeof(struct kv_undo);
	size_t next = whole_words((size_t)g->units * sizeof(u32));
	size_t slots = (size_t)g->slots * sizeof(struct kv_slot);

	if (memory) {
		kv->log = (struct kv_undo *)memory;
		kv->next = (u32 *)(memory + log);
		kv->slots = (struct kv_slot *)(memory + log + next);
		nvc_map_attach(&kv->used, memory + log + next + slots, g->slots);
	}
	return log + next + slots + nvc_map_size(g->slots);
}

static size_t kv_size(const struct nvc_config *config)
{
	struct kv_shape shape;

	nvc_kv_shape(config, &shape);
	return nvc_ssd.size(config) + sizeof(struct kv) + layout(&shape, NULL, NULL);
}

static void kv_attach(struct nvc *c)
{
	nvc_ssd.attach(c);
	c->kv = behind_ssd(c);
	layout(&c->kv->shape, (u8 *)(c->kv + 1), c->kv);
}

/* Nothing is stored. */
static void empty(struct kv *kv)
{
	nvc_map_reset(&kv->used, kv->shape.slots);
	kv->bytes = 0;
	kv->keys = 0;
	kv->live = 0;
	kv->fresh = 0;
	kv->free_head = SSD_NONE;
	kv->free = 0;
	kv->log_at = 0;
	kv->logged = 0;
}

static void kv_init(struct nvc *c)
{
	struct kv *kv = behind_ssd(c);

	nvc_ssd.init(c);
	memset(kv, 0, sizeof(*kv));
	nvc_kv_shape(&c->config, &kv->shape);
	kv_attach(c);
	empty(kv);
}

/* Namespace 1 is all of it. */
void nvc_kv_namespaces(struct nvc *c)
{
	c->ns[0].flags = NVC_NS_KEYS;
}

bool nvc_kv_space(const struct nvc *c, u32 nsid, struct nvc_kv_space *space)
{
	const struct nvc_ns *ns = nvc_ns_get(c, nsid);
	const struct kv *kv = kv_of(c);

	memset(space, 0, sizeof(*space));
	if (!ns || !(ns->flags & NVC_NS_KEYS))
		return false;
	space->capacity = (u64)kv->shape.capacity << SSD_UNIT_SHIFT;
	/* a power cut may bring back more than there is room for now */
	space->used = nvc_min((u64)kv->live << SSD_UNIT_SHIFT, space->capacity);
	space->keys = kv->keys;
	space->max_keys = kv->shape.max_keys;
	space->max_key = NVC_KV_MAX_KEY;
	space->max_value = kv->shape.max_value;
	return true;
}

/* Bytes that go to or come from the host. */
u32 nvc_kv_bytes(const struct nvc *c, const struct nvc_cmd *cmd)
{
	struct kv_key key = nvc_kv_key(cmd);
	const struct kv_slot *slot = nvc_kv_find(c, &key);

	return slot ? nvc_min(cmd->nlb, slot->size) : 0;
}

void nvc_kv_begin(const struct nvc *c, const struct nvc_cmd *cmd, struct nvc_kv_cursor *cursor)
{
	struct kv_key key = nvc_kv_key(cmd);
	const struct kv_slot *slot = nvc_kv_find(c, &key);

	cursor->bytes = nvc_kv_bytes(c, cmd);
	cursor->unit = slot ? slot->head : SSD_NONE;
}

/* Units of a chain from @unit on, at most @most, that lie one behind the other. */
static u32 run_of(const struct kv *kv, u32 unit, u32 most, u32 *next)
{
	u32 n = 1;

	while (n < most && kv->next[unit + n - 1] == unit + n)
		n++;
	*next = kv->next[unit + n - 1];
	return n;
}

u32 nvc_kv_next(const struct nvc *c, struct nvc_kv_cursor *cursor, u64 *at)
{
	u32 units = kv_units(cursor->bytes);
	u32 bytes;

	if (!units)
		return 0;
	*at = (u64)cursor->unit << SSD_UNIT_SHIFT;
	units = run_of(kv_of(c), cursor->unit, units, &cursor->unit);
	bytes = nvc_min((u64)units << SSD_UNIT_SHIFT, cursor->bytes);
	cursor->bytes -= bytes;
	return bytes;
}

/* Writes a chain. Returns when the last of it is in the buffer. */
static u64 write_chain(struct nvc *c, u32 unit, u32 units, u64 at, u32 *used)
{
	u64 buffered = at;

	while (units) {
		u32 first = unit;
		u32 n = run_of(kv_of(c), first, units, &unit);
		struct nvc_extent to = kv_extent(first, n);

		buffered = nvc_max(buffered, nvc_ssd_write_units(c, to, false, at, used));
		nvc_map_set(&c->written, to);
		units -= n;
	}
	return buffered;
}

/* The program that the next unit of the host will be part of. */
static u64 next_program(const struct ssd *s)
{
	const struct ssd_stream *stream = &s->streams[SSD_COLD];

	return stream->fill ? s->a.slots[stream->slot].word : s->words;
}

/* The key has this value from now on. */
static void put(struct nvc *c, const struct nvc_cmd *cmd, u32 head, u64 first)
{
	struct kv_key key = nvc_kv_key(cmd);
	struct kv_slot *slot = nvc_kv_find(c, &key);
	struct ssd *s = ssd_of(c);
	struct kv_undo entry = { .seq = c->seq, .first = 1, .had = !!slot };

	if (slot)
		nvc_kv_account(kv_of(c), slot, false);
	else
		slot = nvc_kv_insert(c, &key);
	entry.old = *slot;
	if (head != SSD_NONE) {
		entry.first = first;
		entry.last = s->a.slots[s->streams[SSD_COLD].slot].word;
	}
	slot->seq = c->seq;
	slot->head = head;
	slot->size = cmd->nlb;
	nvc_kv_account(kv_of(c), slot, true);
	nvc_kv_replaced(c, &entry);
}

static u64 kv_store(struct nvc *c, const struct nvc_cmd *cmd)
{
	const struct nvc_model *m = &c->config.model;
	struct ssd *s = ssd_of(c);
	u32 units = kv_units(cmd->nlb);
	u64 at = ssd_book(&s->link_in, c->now, c->now + m->fw_write, ssd_link_time(s, cmd->nlb));
	u64 first = next_program(s);
	u32 used = 0;
	u64 end;
	u32 head;

	nvc_kv_room(c, units);
	head = nvc_kv_take(c, units);
	s->latest = 0;
	end = write_chain(c, head, units, at, &used) + (u64)units * m->fw_write_unit;
	put(c, cmd, head, first);
	return nvc_ssd_finish(c, cmd, end, used);
}

/* Units of a chain that lie behind one another on one page. */
static u32 page_run(const struct nvc *c, u32 unit, u32 most, u32 *next)
{
	const struct ssd *s = ssd_of(c);
	const struct kv *kv = kv_of(c);
	u32 place = s->a.l2p[unit];
	u32 n = 1;

	*next = kv->next[unit];
	if (place == SSD_NONE)
		return 1;
	most = nvc_min(most, s->shape.per_page - place % s->shape.per_line % s->shape.per_page);
	for (; n < most && s->a.l2p[*next] == place + n; n++)
		*next = kv->next[*next];
	return n;
}

static u64 kv_retrieve(struct nvc *c, const struct nvc_cmd *cmd)
{
	const struct nvc_model *m = &c->config.model;
	struct ssd *s = ssd_of(c);
	struct nvc_kv_cursor cursor;
	u64 ready, end;

	nvc_kv_begin(c, cmd, &cursor);
	ready = c->now + (kv_units(cursor.bytes) > 1 ? m->fw_read_large : m->fw_read);
	end = ready;
	while (cursor.bytes) {
		u32 first = cursor.unit;
		u32 n = page_run(c, first, kv_units(cursor.bytes), &cursor.unit);
		u32 bytes = nvc_min((u64)n << SSD_UNIT_SHIFT, cursor.bytes);
		u64 there = nvc_ssd_read_run(c, first, n, ready);

		end = nvc_max(end, ssd_book(&s->link_out, c->now, there, ssd_link_time(s, bytes)));
		cursor.bytes -= bytes;
	}
	return end;
}

static u64 kv_delete(struct nvc *c, const struct nvc_cmd *cmd)
{
	struct kv_key key = nvc_kv_key(cmd);
	struct kv_slot *slot = nvc_kv_find(c, &key);

	if (slot) {
		nvc_kv_account(kv_of(c), slot, false);
		nvc_kv_free(c, slot);
		nvc_kv_remove(c, slot);
	}
	return c->now + c->config.model.fw_write;
}

static u64 kv_list(struct nvc *c, const struct nvc_cmd *cmd)
{
	struct ssd *s = ssd_of(c);
	u64 time = ssd_link_time(s, nvc_kv_list(c, cmd, NULL, cmd->nlb));

	return ssd_book(&s->link_out, c->now, c->now + c->config.model.fw_read_large, time);
}

static u64 kv_target(struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_ns *ns,
		     const struct nvc_range *ranges)
{
	if (cmd->opcode == NVC_FLUSH)
		return nvc_ssd.target(c, cmd, ns, ranges);
	ssd_begin(c);
	ssd_of(c)->began = ssd_of(c)->closings;
	nvc_kv_retire(c);
	switch (cmd->opcode) {
	case NVC_KV_STORE:
		return kv_store(c, cmd);
	case NVC_KV_RETRIEVE:
		return kv_retrieve(c, cmd);
	case NVC_KV_DELETE:
		return kv_delete(c, cmd);
	case NVC_KV_LIST:
		return kv_list(c, cmd);
	default: /* Exist looks into the index */
		return c->now + c->config.model.fw_read;
	}
}

/* A valid command's counters, and what is done with its data. Returns enum nvc_data. */
u16 nvc_kv_carry_out(struct nvc *c, const struct nvc_cmd *cmd)
{
	u32 bytes = nvc_kv_bytes(c, cmd);

	switch (cmd->opcode) {
	case NVC_KV_STORE:
		c->counters.stores++;
		c->counters.bytes_written += bytes;
		return bytes ? NVC_DATA_VALUE : NVC_DATA_NONE;
	case NVC_KV_RETRIEVE:
		c->counters.retrieves++;
		c->counters.bytes_read += bytes;
		return bytes ? NVC_DATA_VALUE : NVC_DATA_NONE;
	case NVC_KV_LIST:
		c->counters.lists++;
		return NVC_DATA_REPORT;
	case NVC_KV_DELETE:
		c->counters.deletes++;
		return NVC_DATA_NONE;
	default:
		c->counters.exists++;
		return NVC_DATA_NONE;
	}
}

/* What a completed command tells the host. */
u64 nvc_kv_result(const struct nvc *c, const struct nvc_cmd *cmd)
{
	struct kv_key key = nvc_kv_key(cmd);
	const struct kv_slot *slot = nvc_kv_find(c, &key);

	return cmd->opcode == NVC_KV_RETRIEVE && slot ? slot->size : 0;
}

static void kv_forget(struct nvc *c, struct nvc_extent at)
{
	empty(kv_of(c));
	nvc_ssd.forget(c, at);
}

static u32 kv_parts(const struct nvc *c, struct nvc_part *parts)
{
	struct kv *kv = kv_of(c);
	u32 n = nvc_ssd.parts(c, parts);

	parts[n++] = nvc_part(&kv->bytes, kv + 1);
	parts[n++] = nvc_part(kv + 1, (u8 *)(kv + 1) + layout(&kv->shape, NULL, NULL));
	return n;
}

const struct nvc_media nvc_kv = {
	.size = kv_size,
	.init = kv_init,
	.attach = kv_attach,
	.reset = nvc_ssd_reset,
	.retime = nvc_nand_timing,
	.target = kv_target,
	.forget = kv_forget,
	.settle = nvc_ssd_settle,
	.cut = nvc_kv_cut,
	.wake = nvc_kv_wake,
	.parts = kv_parts,
	.thaw = nvc_kv_thaw,
};
