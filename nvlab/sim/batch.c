// SPDX-License-Identifier: GPL-2.0-or-later
#include "batch.h"

/* One that asks for more than the standard allows is refused, and takes none. */
static u32 ranges_of(const struct nvc_cmd *cmd)
{
	bool takes = cmd->opcode == NVC_DSM || cmd->opcode == NVC_COPY ||
		     cmd->opcode == NVC_IO_SEND;

	return takes && cmd->nlb <= NVC_MAX_RANGES ? cmd->nlb : 0;
}

size_t batch_count_ranges(const struct nvc_cmd *cmds, size_t n)
{
	size_t count = 0;
	size_t i;

	for (i = 0; i < n; i++)
		count += ranges_of(&cmds[i]);
	return count;
}

void batch_submit(struct nvc *c, const struct nvc_cmd *cmds, size_t n,
		  const struct nvc_range *ranges, struct nvc_decision *decisions)
{
	size_t i;

	for (i = 0; i < n; i++) {
		nvc_submit(c, &cmds[i], ranges, &decisions[i]);
		ranges += ranges_of(&cmds[i]);
	}
}

void batch_written(const struct nvc *c, u32 nsid, u64 slba, u64 nlb, u8 *written)
{
	while (nlb) {
		bool value;
		u32 n = nvc_run(c, nsid, slba, nvc_min(nlb, NVC_MAX_BLOCKS), &value);

		memset(written, value, n);
		written += n;
		slba += n;
		nlb -= n;
	}
}

void batch_readable(const struct nvc *c, u32 nsid, u64 slba, u64 nlb, u8 *readable)
{
	while (nlb) {
		u32 n = nvc_readable(c, nsid, slba, nvc_min(nlb, NVC_MAX_BLOCKS));

		memset(readable, 1, n);
		readable += n;
		slba += n;
		nlb -= n;
		if (!nlb)
			break;
		*readable++ = nvc_readable(c, nsid, slba++, 1);
		nlb--;
	}
}

/* When a stream submits next; @slot is the place in its queue that is empty then. */
static u64 next_time(const struct batch_stream *s, u32 *slot)
{
	u32 i;

	*slot = 0;
	for (i = 1; i < s->depth; i++)
		if (s->free[i] < s->free[*slot])
			*slot = i;
	return nvc_max(s->free[*slot], s->due);
}

size_t batch_closed(struct nvc *c, struct batch_stream *streams, size_t n)
{
	for (;;) {
		struct batch_stream *first = NULL;
		struct nvc_decision *decision;
		u64 now = ~0ULL;
		u32 slot, at;
		size_t i;

		for (i = 0; i < n; i++) {
			u64 time = next_time(&streams[i], &at);

			if (time < now && time < streams[i].end) {
				now = time;
				slot = at;
				first = &streams[i];
			}
		}
		if (!first)
			return n;
		if (first->next == first->n)
			return first - streams;
		first->cmds[first->next].now = now;
		decision = &first->decisions[first->next];
		nvc_submit(c, &first->cmds[first->next++], NULL, decision);
		first->free[slot] = decision->target;
		/* what is late does not put off what comes: arrivals know nothing of the device */
		first->due += first->interval;
	}
}
