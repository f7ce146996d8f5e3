//! Part of the Steadfast push gateway.
