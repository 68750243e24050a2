"""What the method reads and writes: lists, images, masks, tags, score maps; PASCAL VOC."""
