//! What JavaScript asks of a call.

use crate::models::Options;
use serde::Deserialize;

/// Per-call options, by the wrapper's names.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct JsOptions {
    score_threshold: Option<f32>,
    max_results: Option<usize>,
    category_allowlist: Option<Vec<usize>>,
    nms_threshold: Option<f32>,
    rpn: RpnOptions,
    pub(super) top_k: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RpnOptions {
    pre_nms_top_n: Option<usize>,
    post_nms_top_n: Option<usize>,
    score_threshold: Option<f32>,
    nms_threshold: Option<f32>,
}

impl From<JsOptions> for Options {
    fn from(js: JsOptions) -> Options {
        let mut classes = js.category_allowlist;
        if let Some(classes) = &mut classes {
            classes.sort_unstable();
        }
        Options {
            score_thresh: js.score_threshold,
            nms_thresh: js.nms_threshold,
            detections_per_img: js.max_results,
            classes,
            rpn_pre_nms_top_n: js.rpn.pre_nms_top_n,
            rpn_post_nms_top_n: js.rpn.post_nms_top_n,
            rpn_score_thresh: js.rpn.score_threshold,
            rpn_nms_thresh: js.rpn.nms_threshold,
        }
    }
}
