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
 * @start: where its namespace begins in storage, bytes
 * @shift: log2 of a block of it
 * @bytes: of data in host memory
 * @nr_segments: of the worker's segments, how many are in use
 * @locked: the core is locked
 * @seq: of what it writes, if old content is kept
 * @kept_at: where that is kept
 */
struct nvl_io {
	struct nvl_worker *w;
	const struct nvme_command *cmd;
	struct nvc_cmd core;
	u64 start;
	u8 shift;
	u32 bytes;
	u32 nr_segments;
	bool locked;
	u64 seq;
	u32 kept_at;
};

/* copy.c */
void nvl_gather(const struct nvl_segment *segments, void *to, u32 bytes);
u16 nvl_io_move(struct nvl_io *io, u16 data);
void nvl_io_corrupt(struct nvl_io *io, u32 at);

#endif
