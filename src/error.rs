//! What can go wrong, each with the stable code that the TypeScript wrapper shows.

/// An error a caller can act on: the message says what was wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The weights file ends before its own header says it should.
    #[error("{0}")]
    WeightsTruncated(String),
    /// The weights are whole but are not those of the model asked for.
    #[error("{0}")]
    WeightsMismatch(String),
    /// The picture cannot be used: empty, or its bytes do not fit its size.
    #[error("{0}")]
    Image(String),
    /// The memory does not suffice for the picture.
    #[error("{0}")]
    OutOfMemory(String),
}

impl Error {
    /// The stable code, one of `ErrorCode` in www/lib/errors.ts, for example `E_WEIGHTS_TRUNCATED`.
    pub fn code(&self) -> &'static str {
        match self {
            Error::WeightsTruncated(_) => "E_WEIGHTS_TRUNCATED",
            Error::WeightsMismatch(_) => "E_WEIGHTS_MISMATCH",
            Error::Image(_) => "E_IMAGE",
            Error::OutOfMemory(_) => "E_OOM",
        }
    }
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;
