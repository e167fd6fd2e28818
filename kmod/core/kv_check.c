// SPDX-License-Identifier: GPL-2.0-or-later
/* The statuses that the Key Value command set asks for, and its List. */
#include "kv.h"

bool nvc_kv_knows(u8 opcode)
{
	return opcode == NVC_FLUSH || opcode == NVC_KV_STORE || opcode == NVC_KV_RETRIEVE ||
	       opcode == NVC_KV_LIST || opcode == NVC_KV_DELETE || opcode == NVC_KV_EXIST;
}

/* Whether there is room for a value of @units in place of @old, which may be NULL. */
static bool has_room(const struct nvc *c, const struct kv_slot *old, u32 units)
{
	const struct kv *kv = kv_of(c);
	u64 other = kv->live - (old ? kv_units(old->size) : 0);

	return other + units <= kv->shape.capacity && kv->live + (u64)units <= kv->shape.units;
}

static u16 check_store(const struct nvc *c, const struct nvc_cmd *cmd, const struct kv_key *key,
		       const struct kv_slot *old)
{
	if (cmd->nlb > kv_of(c)->shape.max_value)
		return NVC_SC_VALUE_SIZE;
	if (cmd->option & NVC_KV_ADD && old)
		return NVC_SC_KEY_EXISTS;
	if (cmd->option & NVC_KV_REPLACE && !old)
		return NVC_SC_KEY_UNKNOWN;
	if (!has_room(c, old, kv_units(cmd->nlb)) || (!old && !nvc_kv_fits(c, key)))
		return NVC_SC_CAPACITY;
	return NVC_SC_SUCCESS;
}

static u16 check_key(const struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_ns *ns)
{
	struct kv_key key = nvc_kv_key(cmd);
	const struct kv_slot *slot = nvc_kv_find(c, &key);

	if (cmd->opcode == NVC_KV_STORE)
		return check_store(c, cmd, &key, slot);
	if (slot || (cmd->opcode == NVC_KV_DELETE && !(ns->flags & NVC_NS_STRICT_DELETE)))
		return NVC_SC_SUCCESS;
	return NVC_SC_KEY_UNKNOWN;
}

/* Of a command that the set has, on a namespace that is attached. */
u16 nvc_kv_check(const struct nvc *c, const struct nvc_ns *ns, const struct nvc_cmd *cmd)
{
	if (ns->flags & NVC_NS_PROTECTED && nvc_changes(cmd))
		return NVC_SC_WRITE_PROTECTED;
	if (cmd->opcode == NVC_FLUSH)
		return NVC_SC_SUCCESS;
	if (cmd->action > NVC_KV_MAX_KEY)
		return NVC_SC_INVALID_FIELD;
	if (cmd->opcode == NVC_KV_LIST)
		return cmd->nlb < NVC_KV_LIST_HEAD ? NVC_SC_INVALID_FIELD : NVC_SC_SUCCESS;
	return cmd->action ? check_key(c, cmd, ns) : NVC_SC_KEY_SIZE;
}

static void put_bytes(u8 *to, u64 value, u32 bytes)
{
	for (; bytes; bytes--, value >>= 8)
		*to++ = value;
}

static void put_key(u8 *to, const struct kv_slot *slot)
{
	put_bytes(to, slot->length, NVC_KV_LIST_KEY);
	put_bytes(to + NVC_KV_LIST_KEY, slot->word[0], nvc_min(slot->length, 8));
	if (slot->length > 8)
		put_bytes(to + NVC_KV_LIST_KEY + 8, slot->word[1], slot->length - 8);
}

u32 nvc_kv_list(const struct nvc *c, const struct nvc_cmd *cmd, u8 *buffer, u32 bytes)
{
	const struct kv *kv = kv_of(c);
	struct kv_key key = nvc_kv_key(cmd);
	u32 filled = NVC_KV_LIST_HEAD;
	u32 keys = 0;
	bool found;
	u32 at = key.length ? nvc_kv_seek(c, &key, &found) : 0;

	for (at = nvc_kv_following(kv, at); at < kv->shape.slots;
	     at = nvc_kv_following(kv, at + 1)) {
		u32 each = (NVC_KV_LIST_KEY + kv->slots[at].length + 3) & ~3U;

		if (each > bytes - filled)
			break;
		if (buffer) {
			memset(buffer + filled, 0, each);
			put_key(buffer + filled, &kv->slots[at]);
		}
		filled += each;
		keys++;
	}
	if (buffer)
		put_bytes(buffer, keys, NVC_KV_LIST_HEAD);
	return filled;
}
