/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the admin queue is about: features, logs, events, namespaces. */
#ifndef NVLAB_ADMIN_H
#define NVLAB_ADMIN_H

#include <linux/nvme.h>
#include <linux/spinlock.h>

#include "nvc_ssd.h"
#include "queue.h"

#define NVL_MAX_AERS		4
#define NVL_ERROR_ENTRIES	64

/* The Changed Zone List, and the bit that stands for its notices wherever they are. */
#define NVL_LOG_ZONES		0xbf
#define NVL_ASYNC_ZONES		BIT(27)

struct nvl_subsys;

/**
 * struct nvl_features - current values of the features that hold one
 * @arbitration: AB, LPW, MPW, HPW
 * @power: PS and WH
 * @temperature: over and under temperature threshold, kelvin
 * @coalescing: THR and TIME
 * @atomicity: DN
 * @async_config: which asynchronous events the host wants
 * @vwc: whether the volatile write cache is enabled
 * @host: Host Behavior Support
 * @timestamp: what the host set it to, ms
 * @timestamp_at: when it did, ns; 0: since the reset
 */
struct nvl_features {
	u32 arbitration;
	u32 power;
	u32 temperature[2];
	u32 coalescing;
	u32 atomicity;
	u32 async_config;
	u32 vwc;
	u8 host;
	u64 timestamp;
	u64 timestamp_at;
};

/**
 * struct nvl_ns - what the core does not know of a namespace
 * @made: how many had its NSID before; no two have the same name
 * @shared: more than one controller may have it
 * @recovery: TLER
 */
struct nvl_ns {
	u32 made;
	bool shared;
	u16 recovery;
};

/**
 * struct nvl_error_log - the last errors
 * @lock: workers and the control thread write
 * @count: errors since the power went on
 * @slots: a ring by @count
 */
struct nvl_error_log {
	spinlock_t lock;	/* the ring */
	u64 count;
	struct nvme_error_slot slots[NVL_ERROR_ENTRIES];
};

/**
 * enum nvl_event - asynchronous events
 * @NVL_EVENT_DOORBELL: the host rang nonsense
 * @NVL_EVENT_TEMPERATURE: the temperature went beyond a threshold
 * @NVL_EVENT_NAMESPACE: a namespace changed
 * @NVL_EVENT_ZONES: the controller changed zones
 * @NVL_EVENT_SPARE: few blocks are in reserve
 * @NVL_EVENT_MEDIA: the medium can no longer be written
 */
enum nvl_event {
	NVL_EVENT_DOORBELL,
	NVL_EVENT_TEMPERATURE,
	NVL_EVENT_NAMESPACE,
	NVL_EVENT_ZONES,
	NVL_EVENT_SPARE,
	NVL_EVENT_MEDIA,
};

/**
 * enum nvl_select - Select field of Get Features
 * @NVL_SELECT_CURRENT: the value now
 * @NVL_SELECT_DEFAULT: after a reset
 * @NVL_SELECT_SAVED: the default, as none can be saved
 * @NVL_SELECT_SUPPORTED: what can be done with it
 */
enum nvl_select {
	NVL_SELECT_CURRENT,
	NVL_SELECT_DEFAULT,
	NVL_SELECT_SAVED,
	NVL_SELECT_SUPPORTED,
};

/* admin.c */
bool nvl_admin_poll(struct nvl_ctrl *ctrl);
bool nvl_admin_waits(struct nvl_ctrl *ctrl);
u16 nvl_admin_take(struct nvl_ctrl *ctrl, const struct nvme_command *cmd,
		   void *data, u32 len);
u16 nvl_admin_reply(struct nvl_ctrl *ctrl, const struct nvme_command *cmd,
		    const void *data, u32 have, u32 len);

/* event.c */
#define NVL_SPARE_THRESHOLD	10	/* percent */
void nvl_event(struct nvl_ctrl *ctrl, enum nvl_event event);
void nvl_events_reset(struct nvl_ctrl *ctrl);
void nvl_events_seen(struct nvl_ctrl *ctrl, u8 log);
bool nvl_events_post(struct nvl_ctrl *ctrl);
u8 nvl_health_warns(const struct nvl_ctrl *ctrl, const struct nvc_health *health);
void nvl_health_poll(struct nvl_ctrl *ctrl);

/* namespace.c */
u16 nvl_ns_management(struct nvl_ctrl *ctrl, const struct nvme_command *cmd, u32 *result);
u16 nvl_ns_attachment(struct nvl_ctrl *ctrl, const struct nvme_command *cmd);
u16 nvl_format(struct nvl_ctrl *ctrl, const struct nvme_command *cmd);
u16 nvl_ns_switch(struct nvl_subsys *subsys, u32 nsid, u32 flags);
void nvl_ns_changed(struct nvl_subsys *subsys, u32 nsid, u32 ctrls);

/* command_set.c */
#define NVL_CSI_KV		1
#define NVL_SC_INVALID_SET	0x12c
bool nvl_has_set(const struct nvl_ctrl *ctrl, u8 csi);
u8 nvl_set_of(const struct nvl_ctrl *ctrl, u32 nsid);
u16 nvl_identify_list(const struct nvl_ctrl *ctrl, u32 nsid, bool active, u32 sets);
u16 nvl_identify_set(const struct nvl_ctrl *ctrl, const struct nvme_identify *c);

/* identify.c, log.c, feature.c */
u16 nvl_identify(struct nvl_ctrl *ctrl, const struct nvme_command *cmd);
u16 nvl_ns_status(const struct nvl_ctrl *ctrl, u32 nsid);
void nvl_ns_ids(const struct nvl_ctrl *ctrl, u32 nsid, u8 nguid[16], u8 eui64[8]);
u16 nvl_get_log(struct nvl_ctrl *ctrl, const struct nvme_command *cmd);
void nvl_log_error(struct nvl_ctrl *ctrl, const struct nvl_sq *sq,
		   const struct nvme_command *cmd, u16 status);
void nvl_features_reset(struct nvl_ctrl *ctrl);
u16 nvl_get_features(struct nvl_ctrl *ctrl, const struct nvme_command *cmd,
		     u32 *result);
u16 nvl_set_features(struct nvl_ctrl *ctrl, const struct nvme_command *cmd,
		     u32 *result);

/* feature_data.c */
u16 nvl_get_feature_data(struct nvl_ctrl *ctrl, const struct nvme_command *cmd, u8 fid,
			 u32 select);
u16 nvl_set_feature_data(struct nvl_ctrl *ctrl, const struct nvme_command *cmd, u8 fid);

#endif
