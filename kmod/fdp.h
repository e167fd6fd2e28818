/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flexible Data Placement: what fdp.c does for commands, logs and features. */
#ifndef NVLAB_FDP_H
#define NVLAB_FDP_H

#include "nvlab.h"

/* The endurance group. */
#define NVL_ENDGID		1

#define NVL_LOG_FDP_CONFIGS	0x20
#define NVL_LOG_FDP_USAGE	0x21
#define NVL_LOG_FDP_STATS	0x22
#define NVL_LOG_FDP_EVENTS	0x23
#define NVL_FEAT_FDP		0x1d
#define NVL_FEAT_FDP_EVENTS	0x1e
#define NVL_DIRECTIVE_SEND	0x19
#define NVL_DIRECTIVE_RECEIVE	0x1a

struct nvl_io;

/**
 * nvl_handles() - reclaim unit handles
 * @ctrl: the controller
 *
 * Return: how many; 0 where there is no FDP.
 */
static inline u32 nvl_handles(const struct nvl_ctrl *ctrl)
{
	return ctrl->set->kind == NVC_SSD ? ctrl->set->medium.fdp_handles : 0;
}

/**
 * nvl_log_group() - the endurance group that a log is asked of
 * @c: the command; the kernel has no name for Log Specific Identifier
 *
 * Return: its identifier.
 */
static inline u16 nvl_log_group(const struct nvme_get_log_page_command *c)
{
	return le32_to_cpu(((const struct nvme_common_command *)c)->cdw11) >> 16;
}

/* fdp.c, fdp_log.c */
u16 nvl_fdp_directive(struct nvl_io *io);
u16 nvl_fdp_parse(struct nvl_io *io);
void nvl_fdp_report(struct nvl_io *io);
u32 nvl_fdp_log(struct nvl_ctrl *ctrl, const struct nvme_get_log_page_command *c);
u16 nvl_fdp_get(const struct nvl_ctrl *ctrl, u16 group, u32 *result);
u16 nvl_fdp_set(const struct nvl_ctrl *ctrl, const struct nvme_command *cmd);
u16 nvl_fdp_get_events(struct nvl_ctrl *ctrl, const struct nvme_command *cmd, u32 *result);
u16 nvl_fdp_set_events(struct nvl_ctrl *ctrl, const struct nvme_command *cmd);
u16 nvl_directive_receive(struct nvl_ctrl *ctrl, const struct nvme_command *cmd);
u16 nvl_directive_send(struct nvl_ctrl *ctrl, const struct nvme_command *cmd);

#endif
