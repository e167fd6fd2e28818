/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An I/O command in hand: what io.c decides and copy.c moves. */
#ifndef NVLAB_IO_H
#define NVLAB_IO_H

#include "nvlab.h"

/**
 * struct nvl_io - a command in hand
 * @w: the worker, locked
 * @cmd: the command
 * @core: what the core is told
 * @zoned: its namespace is
 * @keys: its namespace holds values by keys
 * @to: first block that its data are of: of a Zone Append what the core said, else as in @core
 * @start: where its namespace begins in storage, bytes
 * @shift: log2 of a block of it
 * @bytes: of data in host memory
 * @nr_segments: of the worker's segments, how many are in use
 * @moved: its data were copied while the core was locked
 * @corrupted: and a byte of them inverted
 * @locked: the core is locked
 * @report: what the host gets instead of blocks
 * @filled: bytes of it
 * @seq: of what it writes if old content is kept, else 0
 * @kept_at: where that is kept
 */
struct nvl_io {
	struct nvl_worker *w;
	const struct nvme_command *cmd;
	struct nvc_cmd core;
	bool zoned;
	bool keys;
	u64 to;
	u64 start;
	u8 shift;
	u32 bytes;
	u32 nr_segments;
	bool moved;
	bool corrupted;
	bool locked;
	const void *report;
	u32 filled;
	u64 seq;
	u32 kept_at;
};

/**
 * nvl_io_writes() - whether host memory goes to storage
 * @io: the command
 *
 * Return: true if so.
 */
static inline bool nvl_io_writes(const struct nvl_io *io)
{
	return io->core.opcode == NVC_WRITE || io->core.opcode == NVC_ZONE_APPEND;
}

/* io.c */
u16 nvl_io_map(struct nvl_io *io, u32 bytes);
u16 nvl_io_list(struct nvl_io *io, u32 nr, size_t each);
u16 nvl_io_parse_data(struct nvl_io *io);

/* zone.c */
u32 nvl_zone_report_size(const struct nvl_ctrl *ctrl);
u16 nvl_zone_parse(struct nvl_io *io);
void nvl_zone_decided(struct nvl_io *io, const struct nvc_decision *d);

/* kv.c */
u32 nvl_kv_report_size(const struct nvl_ctrl *ctrl);
u16 nvl_kv_parse(struct nvl_io *io);
void nvl_kv_decided(struct nvl_io *io, const struct nvc_decision *d);

/* copy.c */
void nvl_gather(const struct nvl_segment *segments, void *to, u32 bytes);
void nvl_scatter(const struct nvl_segment *segments, u32 nr, const void *from, u32 bytes);
u16 nvl_io_move(struct nvl_io *io, u16 data);
u32 nvl_io_value(struct nvl_io *io);
void nvl_io_corrupt(struct nvl_io *io, u32 at);

#endif
