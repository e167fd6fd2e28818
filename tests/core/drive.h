/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random small SSDs for the fuzz programs. */
#ifndef DRIVE_H
#define DRIVE_H

#include "fuzz.h"
#include "nvc_fdp.h"

static void random_geometry(struct nvc_model *m)
{
	random_dies(m);
	m->blocks = 10 + below(60);
	m->pages = below(3) ? 0 : m->program_pages * (1 + below(4));
	if (m->pages)
		m->blocks = below(2) ? 0 : 10 + below(400);
	m->buffer = below(200);
	m->spare = 50 + below(300);
}

static void random_live(struct nvc_model *m)
{
	static const u32 speeds[] = { 0, 50, 800, 100000 };

	m->suspend = below(2);
	m->suspend_time = below(20000);
	m->channel_speed = speeds[below(4)];
	m->link_speed = speeds[below(4)];
	m->erase = below(5000000);
	m->gc_low = 4 + below(4);
	m->gc_background = below(2) ? 0 : below(20);
	m->gc_idle = below(100000);
	m->wear_gap = below(2) ? 0 : 1 + below(4);
	m->recovery = below(10);
	m->read_disturb = below(2) ? 0 : 1 + below(below(2) ? 30 : 1000);
	m->retention = below(2) ? 0 : 1 + below(100);
	m->gc_choices = 1 + below(4);
}

static void random_model(struct nvc_model *m)
{
	nvc_model_default(m);
	random_geometry(m);
	random_live(m);
	m->gc_policy = below(5);
	m->hot_cold = below(2);
	m->fdp_handles = below(2) ? 0 : 1 + below(5);
	m->fdp_persistent = below(2);
	m->mapping_cache = below(2) ? 0 : 1 + below(12);
	m->plp = !below(4);
	m->awupf = below(2) ? 0 : below(40);
	if (!below(3)) {
		m->bad_factory = below(20000);
		m->erase_fail = below(3000);
		m->program_fail = below(below(2) ? 3000 : 50000);
		m->endurance = below(20);
		m->spare += 500;
	}
}

/* Of a Write or Copy where its data go, now and then to a handle that there is not. */
static inline void random_place(struct nvc_cmd *cmd, u32 handles)
{
	if (!handles || below(4) == 0)
		return;
	cmd->action = below(8) ? NVC_DIRECTIVE_PLACEMENT : below(4);
	cmd->key = below(8) ? below(handles) : below(2 * handles);
}

/* Handles that are updated. */
static inline void random_update(struct nvc_cmd *cmd, u32 handles, struct nvc_range *pids)
{
	u32 i;

	cmd->opcode = NVC_IO_SEND;
	cmd->action = below(8) ? NVC_RUH_UPDATE : 0;
	cmd->slba = 0;
	cmd->nlb = 1 + below(handles);
	for (i = 0; i < cmd->nlb; i++)
		pids[i] = (struct nvc_range){ .slba = below(handles) };
}

static struct nvc_config random_drive(u32 most_blocks)
{
	struct nvc_config config;

	do {
		memset(&config, 0, sizeof(config));
		config.blocks = 1 + below(below(3) ? most_blocks : 300);
		config.kind = NVC_SSD;
		config.block_shift = below(2) ? 9 : 12;
		config.vwc = below(3) != 0;
		config.seed = any();
		config.timing.units = 1;
		config.timing.unit_shift = 12;
		random_model(&config.model);
	} while (nvc_check(&config));
	return config;
}

#endif
