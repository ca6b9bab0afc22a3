"""Published data sets: folders of images and masks, as samples and then as chips of a store."""
