//! A builder's parameters as a weights file states them: `__metadata__["mobilesight"].config`, by TorchVision's names.
//! What the file leaves out has the default of TorchVision's builder.

use super::detection::faster_rcnn::FasterRcnnConfig;
use super::mobilenetv3::InvertedResidualConfig;
use crate::kernels::Activation;
use crate::weights::Metadata;
use crate::{Error, Result};
use serde::Deserialize;

/// Most rows, channels or classes that a file may ask for: beyond any model of the family.
const MOST: usize = 1 << 14;

/// input, kernel, expanded, out, use_se, activation, stride, dilation.
type Row = (usize, usize, usize, usize, bool, String, usize, usize);

#[derive(Deserialize)]
struct DetectorConfig {
    inverted_residual_setting: Option<Vec<Row>>,
    batch_norm_eps: Option<f32>,
    num_classes: Option<usize>,
    representation_size: Option<usize>,
    min_size: Option<usize>,
    max_size: Option<usize>,
    rpn_pre_nms_top_n_test: Option<usize>,
    rpn_post_nms_top_n_test: Option<usize>,
    rpn_score_thresh: Option<f32>,
    rpn_nms_thresh: Option<f32>,
    box_score_thresh: Option<f32>,
    box_nms_thresh: Option<f32>,
    box_detections_per_img: Option<usize>,
}

fn refuse(what: impl std::fmt::Display) -> Error {
    Error::WeightsMismatch(format!("the file's config {what}; correct it in the file's metadata"))
}

fn row(
    (input_channels, kernel, expanded_channels, out_channels, use_se, name, stride, dilation): Row,
) -> Result<InvertedResidualConfig> {
    let activation = match name.as_str() {
        "RE" => Activation::Relu,
        "HS" => Activation::Hardswish,
        other => return Err(refuse(format_args!("has activation {other:?}, not RE or HS"))),
    };
    let channels = [input_channels, expanded_channels, out_channels];
    let known = matches!(kernel, 3 | 5) && matches!(stride, 1 | 2) && (1..=16).contains(&dilation);
    if !known || channels.iter().any(|c| *c == 0 || *c > MOST || !c.is_multiple_of(4)) {
        let row = (input_channels, kernel, expanded_channels, out_channels, stride, dilation);
        return Err(refuse(format_args!(
            "has a row {row:?}: kernels are 3 or 5, strides 1 or 2, channels come in fours"
        )));
    }
    Ok(InvertedResidualConfig {
        input_channels,
        kernel,
        expanded_channels,
        out_channels,
        use_se,
        activation,
        stride,
        dilation,
    })
}

/// The detector's parameters in `metadata`.
///
/// # Errors
/// [`Error::WeightsMismatch`] when the architecture is another one or a value cannot be.
pub fn faster_rcnn_config(metadata: &Metadata) -> Result<FasterRcnnConfig> {
    const ARCH: &str = "fasterrcnn_mobilenet_v3_large_320_fpn";
    if metadata.arch != ARCH {
        let message =
            format!("the weights are of {}, not of {ARCH}; load them with the task they are for", metadata.arch);
        return Err(Error::WeightsMismatch(message));
    }
    let file =
        DetectorConfig::deserialize(&metadata.config).map_err(|e| refuse(format_args!("cannot be read ({e})")))?;
    let mut config = FasterRcnnConfig::fasterrcnn_mobilenet_v3_large_320_fpn(metadata.labels.len());
    if let Some(rows) = file.inverted_residual_setting {
        if rows.windows(2).any(|pair| pair[0].3 != pair[1].0) {
            return Err(refuse("has a row whose input channels are not the output channels of the row before"));
        }
        config.inverted_residual_setting = rows.into_iter().map(row).collect::<Result<_>>()?;
    }
    set(&mut config.batch_norm_eps, file.batch_norm_eps);
    set(&mut config.num_classes, file.num_classes);
    set(&mut config.representation_size, file.representation_size);
    set(&mut config.min_size, file.min_size);
    set(&mut config.max_size, file.max_size);
    set(&mut config.rpn.pre_nms_top_n, file.rpn_pre_nms_top_n_test);
    set(&mut config.rpn.post_nms_top_n, file.rpn_post_nms_top_n_test);
    set(&mut config.rpn.score_thresh, file.rpn_score_thresh);
    set(&mut config.rpn.nms_thresh, file.rpn_nms_thresh);
    set(&mut config.boxes.score_thresh, file.box_score_thresh);
    set(&mut config.boxes.nms_thresh, file.box_nms_thresh);
    set(&mut config.boxes.detections_per_img, file.box_detections_per_img);
    let sizes = [config.num_classes, config.representation_size, config.min_size, config.max_size];
    if sizes.iter().any(|s| *s == 0 || *s > MOST) || config.min_size > config.max_size || config.batch_norm_eps <= 0.0 {
        return Err(refuse(format_args!(
            "has a size out of range among {sizes:?} (classes, representation, min and max size)"
        )));
    }
    Ok(config)
}

fn set<T>(to: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *to = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(arch: &str, config: Value) -> Result<FasterRcnnConfig> {
        let labels = vec!["a".to_string(); 3];
        let arch = arch.to_string();
        faster_rcnn_config(&Metadata { arch, labels, config, preset: Value::Null, source: None, license: None })
    }

    #[test]
    fn what_the_file_leaves_out_is_torchvisions() {
        let config = parse("fasterrcnn_mobilenet_v3_large_320_fpn", json!({"rpn_score_thresh": 0.2})).unwrap();
        assert_eq!((config.num_classes, config.rpn.score_thresh, config.representation_size), (3, 0.2, 1024));
    }

    #[test]
    fn bad_configs_are_refused_in_words() {
        let setting = |row: Value| json!({"inverted_residual_setting": [row]});
        for (config, what) in [
            (setting(json!([16, 4, 16, 16, false, "RE", 1, 1])), "kernels are 3 or 5"),
            (setting(json!([16, 3, 18, 16, false, "RE", 1, 1])), "come in fours"),
            (setting(json!([16, 3, 16, 16, false, "XX", 1, 1])), "not RE or HS"),
            (setting(json!([16, 3])), "cannot be read"),
            (json!({"min_size": 0}), "out of range"),
        ] {
            let error = parse("fasterrcnn_mobilenet_v3_large_320_fpn", config).unwrap_err();
            assert!(error.to_string().contains(what) && error.code() == "E_WEIGHTS_MISMATCH", "{error}");
        }
        assert!(parse("lraspp_mobilenet_v3_large", json!({})).unwrap_err().to_string().contains("lraspp"));
    }
}
