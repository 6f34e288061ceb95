"""Estimators of optical flow for footage without true motion; one file each, found by being here."""
